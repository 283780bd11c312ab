"""One command that shows the whole: a facility in a box, a detector that writes, an upload that is watched."""
