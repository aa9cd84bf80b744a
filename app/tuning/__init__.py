"""The choice of bits by layer: what each costs on this device and loses, and which to take."""
