"""From the bytes of an image file to upright RGB pixels, whatever other code does with Pillow."""
