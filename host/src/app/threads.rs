//! Threads beside the workers, each with a runtime of its own, until the host leaves.

use tokio::sync::{oneshot, watch};

use super::StartError;
use crate::proxy::keeper::Keeper;

/// Watches the doors on a thread of its own, from `begins` until the host leaves: a disk that hangs there must not hold up
/// the control API, and `back` with it.
pub(super) fn watch_doors(
    folder: impl Future<Output = ()> + Send + 'static,
    file: impl Future<Output = ()> + Send + 'static,
    begins: oneshot::Receiver<()>,
    mut draining: watch::Receiver<bool>,
) -> Result<oneshot::Receiver<()>, StartError> {
    let (leaves, left) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
    let watching = move || {
        runtime.block_on(async {
            // Nothing is taken in by a host that does not come to serve.
            if begins.await.is_err() {
                return;
            }
            tokio::select! {
                ((), ()) = async { tokio::join!(folder, file) } => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
        });
        runtime.shutdown_background();
        let _ = leaves.send(());
    };
    std::thread::Builder::new().name("doors".into()).spawn(watching).map_err(StartError::Worker)?;
    Ok(left)
}

/// Keeps the pools true on a thread of its own until the host leaves: probing thousands of members must not hold up the
/// control API.
pub(super) fn keep_pools(keeper: Keeper, mut draining: watch::Receiver<bool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let keep = move || {
        runtime.block_on(async {
            tokio::select! {
                () = keeper.keep() => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
        });
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("keeper".into()).spawn(keep).map(drop)
}
