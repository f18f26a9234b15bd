//! Switchback through the doors a user has: a whole host on loopback, real members, real policies, real files.

mod support;
mod certificates;
mod peers;
mod doubles;

mod command_line;
mod config_file;
mod control_api;
mod folder;
mod forwarded;
mod frames;
mod grpc;
mod header_rules;
mod http1;
mod limits;
mod listeners;
mod policies;
mod proxy_header;
mod redirects;
mod http2;
mod requests;
mod retries;
mod breakers;
mod queues;
mod timeouts;
mod mirroring;
mod review;
mod restarts;
mod readme;
mod switching;
mod tls;
mod tls_members;
mod tls_traffic;
mod unix_sockets;
mod upgrades;
mod wire;
