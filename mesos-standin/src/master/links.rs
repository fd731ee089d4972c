//! Links of agents: reads what they say into the rules, writes what the rules tell them.

use std::sync::Arc;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
};

use super::Master;
use crate::link::{self, FromMaster, ToAgent, ToMaster};

impl Master {
    /// Takes the agents' connections.
    pub(super) async fn accept_links(self: Arc<Self>, mut links: mpsc::Receiver<TcpStream>) {
        while let Some(stream) = links.recv().await {
            tokio::spawn(Arc::clone(&self).serve_link(stream));
        }
    }

    async fn serve_link(self: Arc<Self>, stream: TcpStream) {
        let (reader, mut writer) = stream.into_split();
        if !self.leads() {
            let message = self.leader().unwrap_or_default();
            let refusal: ToAgent = FromMaster::NotLeading(link::Reason { message }).into();
            // An agent that is gone needs no answer.
            let _ = link::write(&mut writer, &refusal).await;
            return;
        }
        let (sender, mut messages) = mpsc::unbounded_channel::<ToAgent>();
        let id = {
            let mut state = self.lock();
            state.next_link += 1;
            let id = state.next_link;
            state.links.insert(id, sender);
            id
        };
        let write = async {
            while let Some(message) = messages.recv().await {
                if link::write(&mut writer, &message).await.is_err() {
                    return;
                }
            }
            // Closing is how a master ends a link; the agent connects anew.
            let _ = writer.shutdown().await;
        };
        tokio::select! {
            () = write => {}
            () = self.read_link(id, reader) => {}
        }
        self.lock().links.remove(&id);
        let now = self.now();
        self.with(|cluster| cluster.link_closed(now, id));
    }

    async fn read_link(&self, id: u64, mut reader: OwnedReadHalf) {
        loop {
            match link::read::<ToMaster, _>(&mut reader).await {
                Ok(Some(message)) => {
                    let cut = {
                        let state = self.lock();
                        let back = registering(&message);
                        state.is_cut(id) || back.is_some_and(|agent| state.partitioned.contains_key(&agent))
                    };
                    if cut {
                        continue;
                    }
                    let now = self.now();
                    self.with(|cluster| cluster.agent_message(now, id, message));
                }
                Ok(None) => return,
                Err(error) => return tracing::info!(%error, link = id, "an agent's link broke"),
            }
        }
    }
}

/// The id of an agent that registers again.
fn registering(message: &ToMaster) -> Option<String> {
    match &message.body {
        Some(link::FromAgent::Register(register)) => register.agent.id.as_ref().map(|id| id.value.clone()),
        _ => None,
    }
}
