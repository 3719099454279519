//! One container: from an OCI runtime spec to an ordered plan of kernel operations, and its execution.
