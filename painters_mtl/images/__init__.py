"""Any file, folder or zip to RGB pixels, resized once, streamed in order."""
