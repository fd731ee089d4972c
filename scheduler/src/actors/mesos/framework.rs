//! Who we are to Mesos: the framework's introduction, its id in the state, and the session's life.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{AsyncContext, Context, Handler};
use futures::StreamExt as _;
use meson_engine::command::Framework;
use meson_mesos::Signals;
use meson_mesos::scheduler::{Scheduler, Signal, Subscribed};
use meson_mesos::v1::framework_info::Capability;
use meson_mesos::v1::framework_info::capability::Type as Can;
use meson_mesos::v1::{FrameworkId, FrameworkInfo};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{BEGIN_AGAIN, Heard, MesosActor, Registered, Session};
use crate::actors::{offers, tell};
use crate::proposer::Error;
use crate::resources::mesos::tasks;

/// The format that agents of Mesos came with.
const FORMAT: u32 = 3;

/// Pause before the framework id is proposed again.
const REGISTER_AGAIN: Duration = Duration::from_millis(200);

/// Numbers of sessions of this process.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

impl MesosActor {
    /// Begins a session when there is none, and ends one whose framework is not ours any more.
    pub(super) fn keep_session(&mut self, ctx: &mut Context<Self>) {
        let state = self.shared.published.state();
        if let Some(session) = &self.session {
            let registering = session.is_registering && state.framework_id.is_empty();
            if registering || session.framework_id.as_deref().is_none_or(|id| id == state.framework_id) {
                return;
            }
            warn!("the framework id was given up: beginning anew");
            self.drop_session(ctx);
        }
        // An upgrade may be under way: replicas that do not know Mesos must not meet what comes of it.
        if Instant::now() < self.begin_at || state.format() < FORMAT {
            return;
        }
        self.begin_at = Instant::now() + BEGIN_AGAIN;
        let known = Some(state.framework_id.clone()).filter(|id| !id.is_empty());
        match self.begin(known.as_deref()) {
            Ok((scheduler, signals)) => {
                let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
                // Dropping the stream ends the session.
                let stream = ctx.add_stream(signals.map(move |signal| Heard(number, signal)));
                let is_registering = known.is_none();
                self.session = Some(Session {
                    scheduler,
                    number,
                    stream,
                    framework_id: known,
                    is_registering,
                    reconciliation: None,
                });
            }
            Err(why) => {
                error!(why, "the settings of Mesos cannot be used");
                self.mesos.note(|status| status.trouble = why);
            }
        }
    }

    fn begin(&self, known: Option<&str>) -> Result<(Scheduler, Signals<Signal>), String> {
        let config = self.mesos.settings().session().map_err(|error| error.to_string())?;
        let info = self.introduction(known);
        let suppressed = self.appetite.suppressed();
        Scheduler::start(config, info, suppressed, None).map_err(|error| error.to_string())
    }

    fn introduction(&self, known: Option<&str>) -> FrameworkInfo {
        let settings = self.mesos.settings();
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let can = [
            Can::MultiRole,
            Can::PartitionAware,
            Can::ReservationRefinement,
            Can::GpuResources,
            Can::TaskKillingState,
        ];
        FrameworkInfo {
            user: settings.user.clone(),
            name: settings.name.clone(),
            id: known.map(FrameworkId::from),
            failover_timeout: Some(settings.failover_timeout_s as f64),
            checkpoint: Some(true),
            roles: settings.all_roles(),
            principal: text(&settings.principal),
            webui_url: text(&settings.webui_url),
            capabilities: can.into_iter().map(|can| Capability { r#type: Some(can as i32) }).collect(),
            ..FrameworkInfo::default()
        }
    }

    pub(super) fn drop_session(&mut self, ctx: &mut Context<Self>) {
        if let Some(session) = self.session.take() {
            ctx.cancel_future(session.stream);
        }
        self.mesos.close();
        self.channels.clear();
    }

    pub(super) fn on_subscribed(&mut self, subscribed: &Subscribed, ctx: &mut Context<Self>) {
        self.mesos.close();
        let id = subscribed.framework_id.value.clone();
        let master = subscribed.master.as_ref().map(|master| master.id.clone()).unwrap_or_default();
        info!(framework_id = id, master, "subscribed with Mesos");
        self.mesos.note(|status| {
            status.framework_id.clone_from(&id);
            status.master = subscribed.master.as_ref().map(address_of).unwrap_or_default();
            status.is_subscribed = true;
            status.trouble.clear();
        });
        let Some(session) = &mut self.session else { return };
        session.framework_id = Some(id.clone());
        let number = session.number;
        if self.shared.published.state().framework_id == id {
            return ctx.notify(Registered(number));
        }
        // Nothing is launched before a majority has the id: a leader that does not know it could never find the tasks again.
        let (proposer, me) = (self.shared.proposer.clone(), ctx.address());
        actix::spawn(async move {
            let command = Framework { framework_id: id, instead_of: String::new() };
            loop {
                match proposer.propose(command.clone()).await {
                    // The actor may have stopped; then a new leader goes on with the id.
                    Ok(_) => {
                        let _ = me.send(Registered(number)).await;
                        return;
                    }
                    // The tick sees that the state has another id, and begins anew; or another leader does.
                    Err(error @ (Error::Refused(_) | Error::NotLeader(_) | Error::Stopped)) => {
                        return warn!(%error, "the framework id is not in the state");
                    }
                    Err(error) => warn!(%error, "the framework id is not in the state yet"),
                }
                tokio::time::sleep(REGISTER_AGAIN).await;
            }
        });
    }

    pub(super) fn on_disconnected(&mut self, error: &meson_mesos::Error) {
        self.mesos.close();
        self.mesos.note(|status| {
            status.is_subscribed = false;
            status.trouble = error.to_string();
        });
        if let Some(session) = &mut self.session {
            session.reconciliation = None;
        }
    }

    pub(super) fn on_ended(&mut self, error: &meson_mesos::Error, ctx: &mut Context<Self>) {
        let trouble = if error.is_framework_removed() {
            format!(
                "{error}. Mesos has forgotten the framework and ended its tasks: `mesonctl mesos register-anew` registers \
                 a new one, once no attempt is left"
            )
        } else {
            error.to_string()
        };
        error!(trouble, "the session with Mesos ended; trying again");
        self.drop_session(ctx);
        self.begin_at = Instant::now() + BEGIN_AGAIN;
        self.mesos.note(|status| {
            status.is_subscribed = false;
            status.trouble = trouble;
        });
    }

    /// Offers may be used from now on.
    pub(super) fn use_offers(&mut self) {
        let id = self.shared.published.state().framework_id.clone();
        let endpoints: Vec<String> =
            self.shared.replica.members().into_iter().map(|member| member.api_address).collect();
        self.mesos.open(tasks::executor(self.mesos.settings(), &FrameworkId::from(id), &endpoints));
        tell(&self.offers, offers::Look);
    }
}

fn address_of(master: &meson_mesos::v1::MasterInfo) -> String {
    let hostname = master.hostname.clone().filter(|name| !name.is_empty());
    let ip = master.address.as_ref().and_then(|address| address.ip.clone());
    format!("{}:{}", hostname.or(ip).unwrap_or_else(|| master.id.clone()), master.port)
}

impl Handler<Registered> for MesosActor {
    type Result = ();
    fn handle(&mut self, Registered(number): Registered, _: &mut Self::Context) {
        if self.session.as_ref().is_some_and(|session| session.number == number) {
            self.reconcile();
        }
    }
}
