"""Where slices come from: the generator, the reader of PNG and DICOM, and the table of labels."""
