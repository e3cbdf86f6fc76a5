//! One file per verb: a [`crate::context::Context`] and options in, a report out. No terminal, no environment, no formatting.

pub mod branch;
pub mod checkout;
pub mod clone;
pub mod commit;
pub mod diff;
pub mod du;
pub mod export;
pub mod fetch;
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
pub mod undo;
pub mod unpack;
pub mod volume;
