//! THE REQUEST LINE: accept -> read head -> pin the release -> vip -> decision -> pool -> member -> send -> stream back.
//!
//! One thread per core, each with its own listeners, its own connections to members and its own instance of every live
//! policy. `forward` calls the rest in order. Nothing here is locked or waits for anything but the network.

pub mod worker;
pub mod listener;
pub mod listeners;
pub mod socket;
pub mod inherited;
pub mod connection;
pub mod stream;
pub mod h1;
pub mod h2;
pub mod exchange;
pub mod forward;
pub mod answered_here;
pub mod head;
pub mod router;
pub mod vip;
pub mod decision;
pub mod instances;
pub mod pool;
pub mod member;
pub mod tls;
pub mod connector;
pub mod headers;
pub mod header_rules;
pub mod forwarded;
pub mod proxy_protocol;
pub mod request_body;
pub mod response;
pub mod grpc;
pub mod websocket;
pub mod error;
pub mod gate;
pub mod descriptors;
pub mod leaving;
pub mod alarm;
pub mod pace;
pub mod log_budget;
pub mod per_worker;
