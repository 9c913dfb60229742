"""PrusaLink: the server in Prusa's Buddy firmware (MK4, XL, MINI, CORE One), and the one on a Raspberry Pi (MK2.5, MK3)."""
