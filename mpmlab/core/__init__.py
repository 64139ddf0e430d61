"""Floor 0: pure values and decisions. No clock, no I/O, nothing imported from the floors above."""
