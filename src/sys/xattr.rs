//! Names of the xattrs that the kernel itself interprets.

/// The access ACL.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The default ACL of a directory, which new entries inherit.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// The capabilities of an executable file.
pub const CAPABILITY: &[u8] = b"security.capability";
