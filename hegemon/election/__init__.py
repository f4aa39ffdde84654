"""Who leads: state machines that take events with the time and return effects. No I/O, no clock, no global random."""
