//! shmipc: buffers in shared memory, a queue of them, and a socket that wakes; for tasks of tokio.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shmipc::buffer::BufferReader;
use shmipc::config::SizePercentPair;
use shmipc::consts::MemMapType;
use shmipc::session::{SessionManager, SessionManagerConfig};
use shmipc::stream::Stream;
use shmipc::transport::{DefaultUnixConnect, DefaultUnixListen};
use shmipc::{Error, Listener};
use tokio::runtime::Runtime;

use super::{End, Opener};
use crate::ring::block::Block;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// How long the other process may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn make(most: usize) -> io::Result<(Opener, Opener)> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("streampipe-compare-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let theirs = path.clone();
    Ok((Box::new(move || connect(path, most)), Box::new(move || listen(theirs, most))))
}

struct Task {
    stream: Stream,
    buffer: Vec<u8>,
    /// Keeps the session alive.
    _others: Others,
    runtime: Runtime,
}

enum Others {
    Client(#[allow(dead_code)] SessionManager<DefaultUnixConnect>),
    Server(#[allow(dead_code)] Listener),
}

fn config(path: &std::path::Path, most: usize) -> SessionManagerConfig {
    let mut config = SessionManagerConfig::new();
    let inner = config.config_mut();
    inner.queue_cap = 65_536;
    inner.connection_write_timeout = Duration::from_secs(5);
    inner.share_memory_buffer_cap = 256 << 20;
    inner.mem_map_type = MemMapType::MemMapTypeMemFd;
    inner.share_memory_path_prefix = format!("{}-memory", path.display());
    inner.buffer_slice_sizes = vec![
        SizePercentPair { size: most as u32 + 256, percent: 70 },
        SizePercentPair { size: (16 << 10) + 256, percent: 20 },
        SizePercentPair { size: (64 << 10) + 256, percent: 10 },
    ];
    config.with_session_num(1)
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

fn connect(path: PathBuf, most: usize) -> io::Result<Box<dyn End>> {
    let runtime = runtime()?;
    let started = Instant::now();
    let manager = loop {
        let address = SocketAddr::from_pathname(&path)?;
        let made = SessionManager::new(config(&path, most), DefaultUnixConnect, address);
        match runtime.block_on(made) {
            Ok(manager) => break manager,
            Err(error) if started.elapsed() > PATIENCE => return Err(io::Error::other(error)),
            Err(_) => std::thread::yield_now(),
        }
    };
    let stream = {
        let _inside = runtime.enter();
        manager.get_stream().map_err(io::Error::other)?
    };
    let mut task =
        Task { stream, buffer: vec![0; most], _others: Others::Client(manager), runtime };
    // The other side accepts a stream with its first bytes.
    task.send(Block::one(64))?;
    let _ = std::fs::remove_file(path);
    Ok(Box::new(task))
}

fn listen(path: PathBuf, most: usize) -> io::Result<Box<dyn End>> {
    let runtime = runtime()?;
    let (listener, stream) = runtime.block_on(async {
        let address = SocketAddr::from_pathname(&path)?;
        let config = config(&path, most).config().clone();
        let mut listener = Listener::new(DefaultUnixListen, address, config).await?;
        let stream = listener.accept().await?;
        io::Result::Ok((listener, stream))
    })?;
    let mut task =
        Task { stream, buffer: vec![0; most], _others: Others::Server(listener), runtime };
    task.receive(Block::one(64))?;
    Ok(Box::new(task))
}

impl End for Task {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let bytes = &mut self.buffer[..block.size()];
        block.fill(bytes, 0);
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            stream.write_bytes(bytes).map_err(io::Error::other)?;
            loop {
                match stream.flush(false).await {
                    Ok(()) => return Ok(()),
                    Err(Error::QueueFull) => tokio::task::yield_now().await,
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
        })
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            let bytes = stream.read_exact_bytes(block.size()).await.map_err(io::Error::other)?;
            let checked = block.check(&bytes, 0);
            drop(bytes);
            stream.recv_buf().release_previous_read();
            checked
        })
    }
}
