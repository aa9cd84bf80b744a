"""Importing this module, the forkserver's last, has the garbage collector leave alone what was
imported: it would write to every object, and a written page is shared no more."""

import gc

gc.freeze()
gc.enable()
