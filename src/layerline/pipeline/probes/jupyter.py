"""A notebook kernel starts and computes."""

import jupyter_client.manager
import jupyterlab

manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")
try:
    client.execute_interactive("assert 6 * 7 == 42", timeout=60)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print("jupyterlab", jupyterlab.__version__)
