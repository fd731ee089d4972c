//! `mesonctl mesos`: how it goes with Mesos, and the repair for when it has forgotten us.

use meson_proto::v1::*;
use serde_json::json;

use crate::args::{Mesos, Output};
use crate::client::{self, Client};
use crate::{Exit, Result, json, show};

/// Carries out the command.
pub async fn run(client: &Client, command: Mesos, output: Output) -> Result {
    match command {
        Mesos::Status => status(client, output).await,
        Mesos::RegisterAnew { framework_id } => register_anew(client, framework_id).await,
    }
}

async fn status(client: &Client, output: Output) -> Result {
    let call = |channel| async move { client::cluster(channel).get_mesos(GetMesosRequest {}).await };
    let mesos = client.call(call).await?;
    if output == Output::Json {
        json::print(&json!({ "framework_id": mesos.framework_id, "master": mesos.master,
            "subscribed": mesos.subscribed, "trouble": mesos.trouble, "launched": mesos.launched,
            "agents": mesos.agents, "offers_open": mesos.offers_open, "offers_closed": mesos.offers_closed,
            "held_p50_ms": mesos.held_p50_ms, "held_p99_ms": mesos.held_p99_ms }));
        return Ok(Exit::Succeeded);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("framework", mesos.framework_id),
        row("master", if mesos.subscribed { mesos.master } else { "not subscribed".to_owned() }),
        row("agents", mesos.agents.to_string()),
        row("tasks launched", mesos.launched.to_string()),
        row("offers held now", mesos.offers_open.to_string()),
        row(
            "offers were held",
            format!("p50 {} ms, p99 {} ms, of {}", mesos.held_p50_ms, mesos.held_p99_ms, mesos.offers_closed),
        ),
    ];
    if !mesos.trouble.is_empty() {
        rows.push(row("trouble", mesos.trouble));
    }
    show::table(&["mesos", ""], rows);
    Ok(Exit::Succeeded)
}

async fn register_anew(client: &Client, framework_id: String) -> Result {
    let request = RegisterAnewRequest { framework_id };
    let call = |channel| {
        let request = request.clone();
        async move { client::cluster(channel).register_anew(request).await }
    };
    client.call(call).await?;
    Ok(Exit::Succeeded)
}
