"""Where desired bytes come from: a Git branch or a directory."""
