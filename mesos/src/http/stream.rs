//! The endless answer to SUBSCRIBE: chunks of a response become records, and records messages.

use std::time::Duration;

use bytes::Bytes;
use prost::{Message, Name};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio::time::timeout;

use super::settings::Settings;
use super::transport::causes;
use crate::encoding::Encoding;
use crate::{Error, recordio};

/// The events of one subscription, in order.
pub(crate) struct Records {
    endpoint: String,
    response: Response,
    decoder: recordio::Decoder,
    encoding: Encoding,
}

impl Records {
    pub fn new(endpoint: String, response: Response, settings: &Settings) -> Result<Self, Error> {
        let answered = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let encoding = match answered.map(Encoding::of_media_type) {
            // Mesos always says it; a peer that does not answers in what we asked for.
            None => settings.encoding,
            Some(Some(encoding)) => encoding,
            Some(None) => {
                let what = format!("events as {answered:?}, asked for {}", settings.encoding.media_type());
                return Err(Error::Protocol { endpoint, what });
            }
        };
        let decoder = recordio::Decoder::new(settings.record_bytes_max);
        Ok(Self { endpoint, response, decoder, encoding })
    }

    /// The next event. `within` is the longest time without a byte. Cancelling loses nothing.
    pub async fn next<M: Message + Name + Default>(&mut self, within: Duration) -> Result<M, Error> {
        let record = self.next_record(within).await?;
        self.encoding
            .decode(&record)
            .map_err(|source| Error::Message { endpoint: self.endpoint.clone(), source })
    }

    async fn next_record(&mut self, within: Duration) -> Result<Bytes, Error> {
        loop {
            let framing = |source| Error::Framing { endpoint: self.endpoint.clone(), source };
            if let Some(record) = self.decoder.next().map_err(framing)? {
                return Ok(record);
            }
            match timeout(within, self.response.chunk()).await {
                Err(_) => return Err(Error::Silent { endpoint: self.endpoint.clone(), after: within }),
                Ok(Err(error)) => {
                    let (endpoint, reason) = (self.endpoint.clone(), causes(&error));
                    return Err(Error::Connection { call: "SUBSCRIBE", endpoint, reason });
                }
                Ok(Ok(Some(chunk))) => self.decoder.push(&chunk),
                Ok(Ok(None)) => {
                    self.decoder.finish().map_err(framing)?;
                    return Err(Error::Ended { endpoint: self.endpoint.clone() });
                }
            }
        }
    }
}
