"""The bank set: a folder of banks and a manifest that makes one database of them."""
