//! Attackers at the door: forged, replayed and foreign input against a running pair.
