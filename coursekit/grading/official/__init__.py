"""Official grading: a learner's code in a sandboxed process, the checks in a trusted one."""
