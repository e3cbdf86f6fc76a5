//! Every kind of content is stored and restored, and programs find their data unchanged.

mod adverse;
mod devices;
mod everything;
mod golden;
mod mariadb;
