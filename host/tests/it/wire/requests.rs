//! What clients send: every request in one normal form at the member, or refused with an answer and the end.
//!
//! Where the RFCs leave a choice, all safe outcomes are listed; where they allow a guess, none is.

use super::case::Case;

mod request_line;
mod versions;
mod targets;
mod hosts;
mod field_lines;
mod lengths;
mod codings;
mod chunks;
mod trailers;
mod connection;
mod http_1_0;
mod pipelines;
mod expect;
mod max_forwards;

pub(super) fn cases() -> Vec<Case> {
    let tables = [
        request_line::cases(),
        versions::cases(),
        targets::cases(),
        hosts::cases(),
        field_lines::cases(),
        lengths::cases(),
        codings::cases(),
        chunks::cases(),
        trailers::cases(),
        connection::cases(),
        http_1_0::cases(),
        pipelines::cases(),
        expect::cases(),
        max_forwards::cases(),
    ];
    tables.into_iter().flatten().collect()
}
