//! An empty WASI: no files, no network, no environment; output goes to the log, time and chance come from the decision.
//!
//! For guests whose toolchain imports `wasi:*` whether they need it or not (`wasm32-wasip2`, JavaScript, Python). The
//! stock implementation of what can block starts a tokio runtime, which panics on a thread that already runs one, as
//! every worker does. Here nothing waits: what would have to is a trap.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::io::{error, poll as io_poll, streams as io_streams};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, StreamError, StreamResult,
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiView};

use super::contract::Guest;
use super::log::CallLog;
use crate::policy::text;

/// A context that grants nothing but two output streams into the log.
pub(super) fn nothing(policy: &str, log: &CallLog) -> WasiCtx {
    WasiCtxBuilder::new().stdout(LogStream::new(policy, log)).stderr(LogStream::new(policy, log)).build()
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    cli::environment::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    error::add_to_linker::<_, HasIo>(linker, |guest| Io(guest.ctx().table))?;
    sync::io::poll::add_to_linker::<_, HasIo>(linker, |guest| Io(guest.ctx().table))?;
    sync::io::streams::add_to_linker::<_, HasIo>(linker, |guest| Io(guest.ctx().table))?;
    clocks::wall_clock::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    clocks::monotonic_clock::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    random::random::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    random::insecure::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    random::insecure_seed::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)
}

/// `wasi:io` that never waits.
struct Io<'a>(&'a mut ResourceTable);

struct HasIo;

impl HasData for HasIo {
    type Data<'a> = Io<'a>;
}

/// Polls once; what is not ready then would have blocked the worker.
fn at_once<T>(future: impl Future<Output = T>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(wasmtime::Error::msg("a policy may not wait")),
    }
}

impl error::Host for Io<'_> {}

impl error::HostError for Io<'_> {
    fn to_debug_string(&mut self, error: Resource<error::Error>) -> wasmtime::Result<String> {
        error::HostError::to_debug_string(self.0, error)
    }

    fn drop(&mut self, error: Resource<error::Error>) -> wasmtime::Result<()> {
        error::HostError::drop(self.0, error)
    }
}

impl sync::io::poll::Host for Io<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        at_once(io_poll::Host::poll(self.0, pollables))?
    }
}

impl sync::io::poll::HostPollable for Io<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        at_once(io_poll::HostPollable::ready(self.0, pollable))?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        at_once(io_poll::HostPollable::block(self.0, pollable))?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io_poll::HostPollable::drop(self.0, pollable)
    }
}

impl sync::io::streams::Host for Io<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<sync::io::streams::StreamError> {
        Ok(io_streams::Host::convert_stream_error(self.0, error)?.into())
    }
}

impl sync::io::streams::HostOutputStream for Io<'_> {
    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        at_once(io_streams::HostOutputStream::drop(self.0, stream))?
    }

    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        io_streams::HostOutputStream::check_write(self.0, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        io_streams::HostOutputStream::write(self.0, stream, bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        at_once(io_streams::HostOutputStream::blocking_write_and_flush(self.0, stream, bytes))
            .map_err(StreamError::Trap)?
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        at_once(io_streams::HostOutputStream::blocking_write_zeroes_and_flush(self.0, stream, len))
            .map_err(StreamError::Trap)?
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        io_streams::HostOutputStream::subscribe(self.0, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        io_streams::HostOutputStream::write_zeroes(self.0, stream, len)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        io_streams::HostOutputStream::flush(self.0, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        at_once(io_streams::HostOutputStream::blocking_flush(self.0, stream)).map_err(StreamError::Trap)?
    }

    fn splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        io_streams::HostOutputStream::splice(self.0, to, from, len)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        at_once(io_streams::HostOutputStream::blocking_splice(self.0, to, from, len)).map_err(StreamError::Trap)?
    }
}

impl sync::io::streams::HostInputStream for Io<'_> {
    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        at_once(io_streams::HostInputStream::drop(self.0, stream))?
    }

    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        io_streams::HostInputStream::read(self.0, stream, len)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        at_once(io_streams::HostInputStream::blocking_read(self.0, stream, len)).map_err(StreamError::Trap)?
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        io_streams::HostInputStream::skip(self.0, stream, len)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        at_once(io_streams::HostInputStream::blocking_skip(self.0, stream, len)).map_err(StreamError::Trap)?
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        io_streams::HostInputStream::subscribe(self.0, stream)
    }
}

impl clocks::wall_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        let nanos = self.inputs.now_nanos;
        let nanoseconds = u32::try_from(nanos % 1_000_000_000).expect("a remainder of 10^9 fits");
        Ok(clocks::wall_clock::Datetime { seconds: nanos / 1_000_000_000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl clocks::monotonic_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.inputs.now_nanos)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        Err(wasmtime::Error::msg("a policy may not wait"))
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        Err(wasmtime::Error::msg("a policy may not wait"))
    }
}

impl random::random::Host for Guest {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next_random())
    }
}

impl random::insecure::Host for Guest {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next_random())
    }
}

impl random::insecure_seed::Host for Guest {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.next_random(), self.next_random()))
    }
}

impl Guest {
    fn random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        /// More than any seed needs, and little enough to be made in a moment.
        const BYTES_MAX: u64 = 4096;
        if len > BYTES_MAX {
            return Err(wasmtime::Error::msg("asked for more than 4096 random bytes at once"));
        }
        Ok((0..len).map(|_| self.next_random().to_le_bytes()[0]).collect())
    }
}

/// Standard output of a guest: whole or partial lines, each write one line of the log.
#[derive(Clone)]
struct LogStream {
    policy: Box<str>,
    log: CallLog,
}

impl LogStream {
    fn new(policy: &str, log: &CallLog) -> Self {
        Self { policy: policy.into(), log: log.clone() }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if !self.log.spend() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&bytes);
        let message = text::printable(message.trim_end());
        tracing::info!(target: "policy", policy = &*self.policy, "{message}");
        self.log.keep(message.into_owned());
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(text::LINE_BYTES_MAX)
    }
}

impl Pollable for LogStream {
    fn ready<'a, 'b>(&'a mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}
