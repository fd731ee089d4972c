//! A standalone master, by its web interface: what runs there, and ending it. Ending needs `spark.ui.killEnabled`, which is
//! on by default.

use serde::Deserialize;

use crate::application::{Application, Origin};
use crate::tag::Tag;
use crate::{Error, http};

/// A standalone master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    base: String,
}

/// The state of a master that waits for another one's end.
const STANDBY: &str = "STANDBY";

/// What a master says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct State {
    /// ALIVE, STANDBY, RECOVERING or COMPLETING_RECOVERY.
    pub status: String,
    /// Where tasks and drivers run.
    pub workers: Vec<Worker>,
    /// Applications that wait or run.
    #[serde(rename = "activeapps")]
    pub active_apps: Vec<App>,
    /// Drivers on the cluster that wait or run.
    #[serde(rename = "activedrivers")]
    pub active_drivers: Vec<Driver>,
}

/// A worker of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Its host.
    pub host: String,
    /// Its port for the master.
    pub port: u16,
    /// Address of its web interface.
    #[serde(rename = "webuiaddress")]
    pub web: String,
}

/// An application.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct App {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// WAITING, RUNNING and so on.
    pub state: String,
}

/// A driver in cluster mode.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Driver {
    /// Its submission id.
    pub id: String,
    /// SUBMITTED, RUNNING and so on.
    pub state: String,
    /// The class it runs.
    #[serde(rename = "mainclass")]
    pub main_class: String,
}

impl Master {
    /// At the address of its web interface, e.g. `http://master:8080`.
    pub fn new(web: &str) -> Master {
        Master { base: web.trim_end_matches('/').to_owned() }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// What runs there, as the master that leads knows it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn state(&self) -> Result<State, Error> {
        self.leading(http::get(&format!("{}/json/", self.base)).await?)
    }

    /// A standby answers like a master at which nothing runs.
    fn leading(&self, state: State) -> Result<State, Error> {
        match state.status.as_str() {
            STANDBY => Err(Error::Standby { url: self.base.clone() }),
            _ => Ok(state),
        }
    }

    /// Whose an application is: by its name, else by what its driver says. None when it is not Meson's, or is one whose
    /// program renamed it and whose driver shows nothing.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn tag(&self, app: &App) -> Result<Option<Tag>, Error> {
        match Tag::of_name(&app.name) {
            Some(tag) => Ok(Some(tag)),
            None => Ok(self.origin(app).await?.tag),
        }
    }

    /// Where an application comes from: by what its driver says, and its name where that says nothing.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn origin(&self, app: &App) -> Result<Origin, Error> {
        let page = http::text(&format!("{}/app/?appId={}", self.base, app.id)).await?;
        let said = match detail_ui(&page) {
            Some(ui) => match Application::at(ui).await {
                Ok(Some(application)) if application.id == app.id => application.origin().await,
                other => other.map(|_| Origin::default()),
            },
            None => Ok(Origin::default()),
        };
        // A driver that does not answer is not the master's fault.
        let Origin { tag, driver_id } = said.unwrap_or_default();
        Ok(Origin { tag: tag.or_else(|| Tag::of_name(&app.name)), driver_id })
    }

    /// Orders an application to end. Whether it has, only [`Master::state`] tells.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kill_application(&self, id: &str) -> Result<(), Error> {
        http::post_form(&format!("{}/app/kill/", self.base), form(id)).await
    }

    /// Orders a driver on the cluster to end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kill_driver(&self, id: &str) -> Result<(), Error> {
        http::post_form(&format!("{}/driver/kill/", self.base), form(id)).await
    }

    /// The end of what a driver on the cluster wrote to its standard error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn driver_log(
        &self,
        worker: &Worker,
        driver_id: &str,
        bytes_max: usize,
    ) -> Result<String, Error> {
        let web = worker.web.trim_end_matches('/');
        http::text(&format!("{web}/log/?driverId={driver_id}&logType=stderr&byteLength={bytes_max}")).await
    }
}

fn form(id: &str) -> String {
    let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    format!("id={id}&terminate=true")
}

/// The link to the application's own interface on its page.
fn detail_ui(page: &str) -> Option<&str> {
    let (before, _) = page.split_once("\">Application Detail UI")?;
    let (_, address) = before.rsplit_once("href=\"")?;
    address.starts_with("http").then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_links_to_the_driver() {
        let page = r#"<li><strong><a href="http://h:4040">Application Detail UI</a></strong></li>"#;
        assert_eq!(detail_ui(page), Some("http://h:4040"));
        assert_eq!(detail_ui("<li>no link</li>"), None);
        assert_eq!(form("app-1&x=\"y"), "id=app-1xy&terminate=true");
    }

    /// What two masters of Spark 3.5 beside a ZooKeeper said.
    #[test]
    fn a_standby_is_not_believed() {
        let answer = |status: &str| {
            let all = r#"{"url": "spark://127.0.0.1:27072", "workers": [], "aliveworkers": 0, "activeapps": [],
                          "completedapps": [], "activedrivers": [], "completeddrivers": [], "status": "STATUS"}"#;
            serde_json::from_str(&all.replace("STATUS", status)).unwrap()
        };
        let master = Master::new("http://h:8080/");
        assert!(master.leading(answer("ALIVE")).is_ok());
        let refused = master.leading(answer("STANDBY")).unwrap_err();
        assert_eq!(refused.to_string(), "http://h:8080 is a standby master: name the one that leads");
        assert!(refused.is_away(), "it may lead soon");
    }
}
