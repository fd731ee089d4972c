//! The HTTP face: health, for load balancers and supervisors. `/healthz` says that the process serves; `/readyz` says
//! that it knows a leader, so that requests get through.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use meson_raft::RoleKind;

use crate::shared::Shared;

/// The routes.
pub fn router(shared: Shared) -> Router {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(shared)
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    let role = shared.replica.role().borrow().clone();
    match (role.kind, role.leader) {
        (RoleKind::Leader, _) if shared.is_leading() => (StatusCode::OK, "leading\n"),
        (RoleKind::Follower | RoleKind::Learner, Some(_)) => (StatusCode::OK, "following\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "no leader\n"),
    }
}
