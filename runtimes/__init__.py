"""Running exported models: sessions, the encoder, the encode pipeline; never imports torch."""
