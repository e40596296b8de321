//! The daemon of X-Ray beside the functions, as far as they know it: a port that takes documents,
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::net::UdpSocket;

/// Takes documents until it is dropped.
pub(super) struct Daemon {
    pub(super) address: String,
    heard: Arc<Mutex<Vec<Value>>>,
    listens: tokio::task::JoinHandle<()>,
}

impl Daemon {
    pub(super) async fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?.to_string();
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let told = Arc::clone(&heard);
        let listens = tokio::spawn(async move {
            let mut packet = vec![0; 64 << 10];
            while let Ok(length) = socket.recv(&mut packet).await {
                let text = packet.get(..length).unwrap_or_default();
                let lines = String::from_utf8_lossy(text);
                let Some((header, document)) = lines.split_once('\n') else {
                    continue;
                };
                let read = |text: &str| serde_json::from_str::<Value>(text).ok();
                let format = json!({"format": "json", "version": 1});
                // What has not the header is not taken.
                if let Some(document) = read(document).filter(|_| read(header) == Some(format)) {
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.push(document);
                }
            }
        });
        Ok(Self {
            address,
            heard,
            listens,
        })
    }

    pub(super) fn documents(&self) -> Vec<Value> {
        let heard = self.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.listens.abort();
    }
}
