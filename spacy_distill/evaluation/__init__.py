"""How good the student is: beside its teacher and the majority label, on texts that people labelled."""
