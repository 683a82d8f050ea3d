"""Image sets, splits and protocols; never imports torch."""
