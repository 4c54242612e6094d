"""What a module's developer manages: its dagger.json, dependencies, and the files made for it."""
