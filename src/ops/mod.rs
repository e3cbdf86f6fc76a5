//! One file per verb. An operation gets a [`crate::context::Context`] and options, and returns a
//! report. It does not use the terminal or the environment, and formats no text for users.

pub mod branch;
pub mod checkout;
pub mod clone;
pub mod commit;
pub mod diff;
pub mod du;
pub mod export;
pub mod fetch;
pub mod forget;
pub mod fsck;
pub mod gc;
pub mod import;
pub mod init;
pub mod log;
pub mod ls;
pub mod mount;
pub mod pack;
pub mod pull;
pub mod push;
pub mod remote;
pub mod show;
pub mod status;
pub mod tag;
pub mod trash;
pub mod umount;
pub mod undo;
pub mod unpack;
pub mod volume;
