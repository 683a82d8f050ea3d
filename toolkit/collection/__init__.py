"""Collections of images: folders that change, and the banks that follow them."""
