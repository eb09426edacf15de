use std::time::Duration;

use streampipe::{Builder, Engine};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::tests_alone;

/// A multi-threaded runtime, in which two tasks of one end run at once.
fn in_runtime(body: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), body).await.expect("it does not hang");
    });
}

fn pair() -> (streampipe::tokio::Stream, streampipe::tokio::Stream) {
    let (ours, theirs) = Builder::new().engine(Engine::Ring).capacity(4096).pair().expect("a pair");
    (ours.try_into().expect("a runtime"), theirs.try_into().expect("a runtime"))
}

tests_alone! {
    fn both_directions_at_once_in_tasks_lose_nothing() {
        const ALL: usize = 4 << 20;
        in_runtime(async {
            let (ours, theirs) = pair();
            let mut tasks = tokio::task::JoinSet::new();
            for end in [ours, theirs] {
                let (mut reader, mut writer) = tokio::io::split(end);
                tasks.spawn(async move {
                    let bytes: Vec<u8> = (0..ALL).map(|at| (at ^ (at >> 8)) as u8).collect();
                    writer.write_all(&bytes).await.expect("the peer reads");
                    writer.shutdown().await.expect("once");
                });
                tasks.spawn(async move {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).await.expect("the peer writes");
                    assert_eq!(all.len(), ALL);
                    assert!(all.iter().enumerate().all(|(at, &it)| it == (at ^ (at >> 8)) as u8));
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("no panic");
            }
        });
    }

    fn a_thousand_round_trips_of_two_tasks() {
        in_runtime(async {
            let (mut ours, mut theirs) = pair();
            let echo = tokio::spawn(async move {
                let mut word = [0; 8];
                while theirs.read_exact(&mut word).await.is_ok() {
                    theirs.write_all(&word).await.expect("the peer reads");
                }
            });
            for turn in 0..1000_u64 {
                ours.write_all(&turn.to_le_bytes()).await.expect("the peer reads");
                let mut word = [0; 8];
                ours.read_exact(&mut word).await.expect("the peer answers");
                assert_eq!(u64::from_le_bytes(word), turn);
            }
            drop(ours);
            echo.await.expect("no panic");
        });
    }
}
