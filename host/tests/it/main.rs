//! Switchback through the doors a user has: a whole host on loopback, real members, real policies, real files.

mod support;
mod certificates;
mod peers;

mod command_line;
mod config_file;
mod control_api;
mod folder;
mod frames;
mod policies;
mod http2;
mod requests;
mod review;
mod restarts;
mod readme;
mod switching;
mod tls;
mod upgrades;
mod wire;
