//! Every kind of content there and back, and programs that must find their data again.

mod adverse;
mod devices;
mod everything;
mod golden;
mod mariadb;
