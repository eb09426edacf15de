//! shmipc as it is fastest: memory in a memory file, written and read in place, an eventfd that wakes, one thread.
//!
//! It has no flow control: a sender that is ahead by all of the memory goes over to the socket for good. So the receiver
//! answers twice for each window of messages, over a stream of its own, and the sender stays within it.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use shmipc::Listener;
use shmipc::buffer::BufferReader;
use shmipc::config::{Config, ProtocolMode, SizePercentPair};
use shmipc::consts::MemMapType;
use shmipc::session::{SessionManager, SessionManagerConfig};
use shmipc::stream::Stream;
use shmipc::transport::{DefaultUnixConnect, DefaultUnixListen};
use tokio::runtime::Runtime;

use super::{End, Opener};
use crate::exchange::runtime;
use crate::ring::block::Block;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// How long the other process may take to listen, and each step of theirs.
const PATIENCE: Duration = Duration::from_secs(5);
/// What may be on its way in one direction, of which half is answered for at once.
const WINDOW_BYTES: usize = 4 << 20;
const MAX_WINDOW: usize = 4096;
/// Beside each message in its slice of the memory.
const SPARE: usize = 256;
/// Up to so large, messages and answers have slices of one size.
const SMALL: usize = 4096;
/// The least memory that it takes.
const LEAST_MEMORY: usize = 2 << 20;

pub(super) fn make(most: usize) -> io::Result<(Opener, Opener)> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("streampipe-compare-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let theirs = path.clone();
    Ok((Box::new(move || connect(path, most)), Box::new(move || listen(theirs, most))))
}

/// So many messages.
fn window(most: usize) -> usize {
    (WINDOW_BYTES / most).clamp(2, MAX_WINDOW)
}

fn config(path: &Path, most: usize) -> Config {
    let size = |bytes: usize| (bytes + SPARE) as u32;
    let pair = |size, percent| SizePercentPair { size, percent };
    let buffer_slice_sizes = if most > SMALL {
        vec![pair(size(most), 90), pair(size(64), 10)]
    } else {
        vec![pair(size(most), 100)]
    };
    // The windows of both directions, and what is being written and read beside them.
    let memory = (2 * window(most) + 4) * (most + 2 * SPARE);
    let mut config = Config {
        connection_write_timeout: PATIENCE,
        initialize_timeout: PATIENCE,
        queue_cap: 2 * MAX_WINDOW as u32,
        queue_path: format!("{}-queue", path.display()),
        share_memory_buffer_cap: (memory + memory / 8).max(LEAST_MEMORY) as u32,
        share_memory_path_prefix: format!("{}-memory", path.display()),
        buffer_slice_sizes,
        mem_map_type: MemMapType::MemMapTypeMemFd,
        ..Config::default()
    }
    .with_v4_eventfd();
    // Otherwise it may be another way than its name says.
    config.protocol.mode = ProtocolMode::V4 { fallback: false };
    config
}

fn connect(path: PathBuf, most: usize) -> io::Result<Box<dyn End>> {
    let runtime = runtime()?;
    let started = Instant::now();
    let manager = loop {
        let address = SocketAddr::from_pathname(&path)?;
        let config =
            SessionManagerConfig::new().with_config(config(&path, most)).with_session_num(1);
        match runtime.block_on(SessionManager::new(config, DefaultUnixConnect, address)) {
            Ok(manager) => break manager,
            Err(error) if started.elapsed() > PATIENCE => return Err(other(error)),
            Err(_) => std::thread::yield_now(),
        }
    };
    let streams = runtime.block_on(async {
        let mut streams = Vec::new();
        for number in 0..2 {
            let mut stream = manager.get_stream().map_err(other)?;
            // The other side accepts a stream with its first bytes.
            put(&mut stream, |room| room.copy_from_slice(&[number]), 1).await?;
            streams.push(stream);
        }
        io::Result::Ok(streams)
    })?;
    let _ = std::fs::remove_file(path);
    task(streams, most, Others::Client(manager), runtime)
}

fn listen(path: PathBuf, most: usize) -> io::Result<Box<dyn End>> {
    let runtime = runtime()?;
    let (listener, streams) = runtime.block_on(async {
        let address = SocketAddr::from_pathname(&path)?;
        let mut listener = Listener::new(DefaultUnixListen, address, config(&path, most)).await?;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = listener.accept().await?;
            let mut number = 0;
            take(&mut stream, 1, |bytes| number = bytes[0]).await?;
            streams.push((number, stream));
        }
        streams.sort_by_key(|(number, _)| *number);
        io::Result::Ok((listener, streams.into_iter().map(|(_, stream)| stream).collect()))
    })?;
    task(streams, most, Others::Server(listener), runtime)
}

fn task(
    streams: Vec<Stream>,
    most: usize,
    others: Others,
    runtime: Runtime,
) -> io::Result<Box<dyn End>> {
    let [messages, answers]: [Stream; 2] =
        streams.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    let half = window(most) as u64 / 2;
    Ok(Box::new(Task { messages, answers, half, sent: 0, received: 0, _others: others, runtime }))
}

struct Task {
    messages: Stream,
    answers: Stream,
    /// Messages after which the receiver answers.
    half: u64,
    sent: u64,
    received: u64,
    /// Keeps the session alive.
    _others: Others,
    runtime: Runtime,
}

enum Others {
    Client(#[allow(dead_code)] SessionManager<DefaultUnixConnect>),
    Server(#[allow(dead_code)] Listener),
}

/// Enters the runtime only if there is something to wait for: within the window, nothing else needs it.
fn wait<T>(runtime: &Runtime, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut work = pin!(work);
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => runtime.block_on(work),
    }
}

async fn put(stream: &mut Stream, fill: impl FnOnce(&mut [u8]), len: usize) -> io::Result<()> {
    fill(stream.reserve(len).map_err(other)?);
    if !stream.send_buf().is_from_share_memory() {
        // It would go over to the socket with this, for which it starts tasks.
        return Err(went_over());
    }
    stream.flush(false).await.map_err(other)
}

async fn take<T>(stream: &mut Stream, len: usize, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    let bytes = stream.read_exact_bytes(len).await.map_err(other)?;
    let found = look(&bytes);
    drop(bytes);
    stream.recv_buf().release_previous_read();
    if stream.fallback_state() { Err(went_over()) } else { Ok(found) }
}

fn went_over() -> io::Error {
    io::Error::other("its memory was full, and it would go over to the socket")
}

impl End for Task {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let Self { messages, answers, half, sent, runtime, .. } = self;
        wait(runtime, async {
            put(messages, |room| block.fill(room, 0), block.size()).await?;
            *sent += 1;
            if sent.is_multiple_of(*half) && *sent > *half {
                take(answers, 1, |_| ()).await?;
            }
            Ok(())
        })
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let Self { messages, answers, half, received, runtime, .. } = self;
        wait(runtime, async {
            take(messages, block.size(), |bytes| block.check(bytes, 0)).await??;
            *received += 1;
            if received.is_multiple_of(*half) {
                put(answers, |room| room.fill(b'!'), 1).await?;
            }
            Ok(())
        })
    }
}

fn other(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}
