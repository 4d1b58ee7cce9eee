"""Stage one of the method, VAMA: masked audio is reconstructed from the video."""
