"""The demo's own two steps: getting real text and a real model, and trying the wheel as a stranger would."""
