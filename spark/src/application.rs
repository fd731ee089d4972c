//! A running application, by the REST API of its driver (`/api/v1`, Spark's "Monitoring and Instrumentation"). Fields that
//! are not needed are left out, and those that older versions lack default to nothing.

use serde::Deserialize;

use crate::tag::Tag;
use crate::{Error, http};

/// An application whose driver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id, e.g. `app-20260101120000-0001` or `local-1700000000000`.
    pub id: String,
    base: String,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    #[serde(default)]
    spark_properties: Vec<(String, String)>,
    #[serde(default)]
    system_properties: Vec<(String, String)>,
}

/// Where an application comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Whose it is; none when it is not Meson's.
    pub tag: Option<Tag>,
    /// The id of its driver, where a worker of the cluster runs that.
    pub driver_id: Option<String>,
}

/// One action of the program.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    /// Counts from 0.
    pub job_id: u64,
    /// The call and its place in the program.
    pub name: String,
    /// What the program said that it does.
    pub description: Option<String>,
    /// RUNNING, SUCCEEDED, FAILED or UNKNOWN.
    pub status: String,
    /// All tasks.
    pub num_tasks: u64,
    /// Tasks done.
    pub num_completed_tasks: u64,
    /// Tasks whose result was there already.
    pub num_skipped_tasks: u64,
    /// Tries of tasks that failed.
    pub num_failed_tasks: u64,
}

/// A part of a job without a shuffle in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stage {
    /// Counts from 0.
    pub stage_id: u64,
    /// Which try of it.
    pub attempt_id: u64,
    /// The call and its place in the program.
    pub name: String,
    /// ACTIVE, COMPLETE, PENDING, FAILED or SKIPPED.
    pub status: String,
    /// All tasks.
    pub num_tasks: u64,
    /// Tasks that run.
    pub num_active_tasks: u64,
    /// Tasks done.
    pub num_complete_tasks: u64,
    /// Tries of tasks that failed.
    pub num_failed_tasks: u64,
}

/// A process that runs tasks, living or dead; sums over its life.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Executor {
    /// A number, or `driver`.
    pub id: String,
    /// Whether it lives.
    pub is_active: bool,
    /// Tries of tasks that failed.
    pub failed_tasks: u64,
    /// Tasks done.
    pub completed_tasks: u64,
    /// Bytes read from storage.
    pub total_input_bytes: u64,
    /// Bytes read from other tasks.
    pub total_shuffle_read: u64,
    /// Bytes written for other tasks.
    pub total_shuffle_write: u64,
}

/// A try of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// Unique in the application.
    pub task_id: u64,
    /// Why it failed.
    pub error_message: Option<String>,
}

impl Application {
    /// The application whose interface is at this address, e.g. `http://127.0.0.1:4040`; none while it starts.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn at(ui: &str) -> Result<Option<Application>, Error> {
        let base = format!("{}/api/v1/applications", ui.trim_end_matches('/'));
        // Until its context is there, the interface answers in words.
        match http::get::<Vec<Listed>>(&base).await {
            Ok(found) => Ok(found.into_iter().next().map(|Listed { id }| Application { id, base })),
            Err(Error::Unreadable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whose it is; none when it is not Meson's.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn tag(&self) -> Result<Option<Tag>, Error> {
        Ok(self.origin().await?.tag)
    }

    /// Where it comes from.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn origin(&self) -> Result<Origin, Error> {
        let environment = self.get::<Environment>("environment").await?;
        Ok(Origin {
            tag: Tag::of_properties(&environment.spark_properties),
            driver_id: driver_id(&environment.system_properties),
        })
    }

    /// All jobs that it remembers.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn jobs(&self) -> Result<Vec<Job>, Error> {
        self.get("jobs").await
    }

    /// The stages that run.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn active_stages(&self) -> Result<Vec<Stage>, Error> {
        self.get("stages?status=active").await
    }

    /// All executors, dead ones too.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn executors(&self) -> Result<Vec<Executor>, Error> {
        self.get("allexecutors").await
    }

    /// Some failed tries of a stage's tasks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn failed_tasks(&self, stage: &Stage, most: usize) -> Result<Vec<Task>, Error> {
        let Stage { stage_id, attempt_id, .. } = stage;
        self.get(&format!("stages/{stage_id}/{attempt_id}/taskList?status=failed&length={most}")).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, Error> {
        http::get(&format!("{}/{}/{what}", self.base, self.id)).await
    }
}

/// A worker runs each driver in a directory that is named after it (Spark's `DriverRunner`).
fn driver_id(system_properties: &[(String, String)]) -> Option<String> {
    let (_, dir) = system_properties.iter().find(|(name, _)| name == "user.dir")?;
    let name = dir.trim_end_matches('/').rsplit('/').next()?;
    name.starts_with("driver-").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_on_the_cluster_are_known_by_their_directory() {
        let of = |dir: &str| driver_id(&[("user.dir".to_owned(), dir.to_owned())]);
        assert_eq!(of("/spark/driver-20260101120000-0003").as_deref(), Some("driver-20260101120000-0003"));
        assert_eq!(of("/attempts/x/work"), None);
    }
}
