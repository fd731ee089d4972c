//! The driver: the query in a thread of its own, since every call of it waits for the server, and beside it what Spark tells
//! of the query's jobs and the order to end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{oneshot, watch};

use super::{Told, earlier, end, query, spark};
use crate::drive::{Job, Stop, Verdict, Voice, stopped};

/// From the connection to the last row.
pub async fn run(job: &Job, voice: &Voice, mut stop: Stop) -> Result<i32, Verdict> {
    let driver = |error| Verdict::platform("driver", error);
    let told: Arc<Told> = Arc::new(job.config()?);
    tokio::select! {
        ended = earlier::end(job, &told.spark_ui, voice) => ended?,
        () = stopped(&mut stop) => return Err(killed()),
    }
    job.begin().map_err(driver)?;
    let is_stopped = Arc::new(AtomicBool::new(false));
    let (send, ended) = oneshot::channel();
    let (place, places) = watch::channel(spark::Place::default());
    let (its_job, its_told, its_stop) = (job.clone(), told.clone(), is_stopped.clone());
    // Not waited for when the attempt is to end: the process ends, and it with it.
    std::thread::Builder::new()
        .name("query".to_owned())
        .spawn(move || send.send(query::run(&its_job, &its_told, &its_stop, &place)))
        .map_err(driver)?;
    let progress = async {
        if !told.spark_ui.is_empty() {
            spark::tell(&told.spark_ui, &spark::tag(job), voice, places).await;
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = ended => match ended {
            Ok(ended) => ended.map(|()| 0),
            Err(_) => Err(Verdict::platform("driver", "the query's thread vanished")),
        },
        never = progress => match never {},
        () = stopped(&mut stop) => {
            // From here on the query begins nothing; what it has begun is written down.
            is_stopped.store(true, Ordering::SeqCst);
            // The clean-up goes on where this does not come to an end.
            let _ = end::make_sure(job, &told, job.grace() * 3 / 4).await;
            Err(killed())
        }
    }
}

fn killed() -> Verdict {
    Verdict::user("killed", "the query was cancelled")
}
