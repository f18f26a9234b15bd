//! The line between the two processes: messages in JSON, each after its length, and file descriptors.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use super::Message;

/// Bytes of a message: some thousand sockets.
const MESSAGE_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Descriptors that are sent at once. The kernel takes 253 (SCM_MAX_FD).
const DESCRIPTORS_AT_ONCE: usize = 128;

/// How long the other side may take to read what we say.
const SAY_TIMEOUT: Duration = Duration::from_secs(5);

/// One end of the line. Blocks: not for a thread that has other things to do.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
}

impl Line {
    /// A line over this stream.
    ///
    /// # Errors
    /// When the stream is none any more.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(SAY_TIMEOUT))?;
        Ok(Self { stream })
    }

    /// Says something.
    ///
    /// # Errors
    /// When nobody hears it.
    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        let text = serde_json::to_vec(message).expect("a message is plain data");
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        self.stream.write_all(&[&length.to_be_bytes()[..], &text].concat())
    }

    /// Hears what the other side says next.
    ///
    /// # Errors
    /// When it says nothing in time, has gone (`UnexpectedEof`), or says what we do not understand (`InvalidData`).
    pub fn hear(&mut self, within: Duration) -> io::Result<Message> {
        self.stream.set_read_timeout(Some(within))?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(in_time)?;
        let length = u32::from_be_bytes(length);
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        let mut text = vec![0; length as usize];
        self.stream.read_exact(&mut text).map_err(in_time)?;
        serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Hands descriptors over.
    ///
    /// # Errors
    /// When nobody takes them.
    pub fn hand(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        for some in descriptors.chunks(DESCRIPTORS_AT_ONCE) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(some)), "there is room for as many");
            // Descriptors go with a byte at least.
            sendmsg(&self.stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// Takes so many descriptors.
    ///
    /// # Errors
    /// When as many do not come.
    pub fn take(&mut self, number: usize, within: Duration) -> io::Result<Vec<OwnedFd>> {
        self.stream.set_read_timeout(Some(within))?;
        let mut taken = Vec::with_capacity(number);
        while taken.len() < number {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags);
            let received = received.map_err(|error| in_time(error.into()))?;
            let before = taken.len();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    taken.extend(descriptors);
                }
            }
            if received.bytes == 0 || taken.len() == before {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "descriptors are missing"));
            }
        }
        Ok(taken)
    }
}

/// What the kernel says of a time that is over.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    fn lines() -> (Line, Line) {
        let (left, right) = UnixStream::pair().unwrap();
        (Line::new(left).unwrap(), Line::new(right).unwrap())
    }

    #[test]
    fn messages_and_descriptors_arrive_in_their_order() {
        let (mut left, mut right) = lines();
        let file = tempfile::tempfile().unwrap();
        let many = vec![file.as_fd(); DESCRIPTORS_AT_ONCE + 1];
        left.say(&Message::Ready).unwrap();
        left.hand(&many).unwrap();
        left.say(&Message::Go).unwrap();
        assert_eq!(right.hear(SAY_TIMEOUT).unwrap(), Message::Ready);
        let taken = right.take(many.len(), SAY_TIMEOUT).unwrap();
        File::from(taken.into_iter().last().unwrap()).write_all(b"here").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4);
        assert_eq!(right.hear(SAY_TIMEOUT).unwrap(), Message::Go);
    }

    #[test]
    fn silence_nonsense_and_an_end_are_told_apart() {
        let (mut left, mut right) = lines();
        assert_eq!(right.hear(Duration::from_millis(1)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        left.stream.write_all(&[0, 0, 0, 2, b'{', b'}', 255, 255, 255, 255]).unwrap();
        assert_eq!(right.hear(SAY_TIMEOUT).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(right.hear(SAY_TIMEOUT).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(left);
        assert_eq!(right.hear(SAY_TIMEOUT).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
