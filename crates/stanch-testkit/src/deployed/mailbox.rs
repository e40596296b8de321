//! A person's own address, as far as functions know it: what is posted there can be read.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Takes messages until it is dropped.
pub(super) struct Mailbox {
    pub(super) url: String,
    mails: Arc<Mutex<Vec<Value>>>,
    listens: tokio::task::JoinHandle<()>,
}

impl Mailbox {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/mails", listener.local_addr()?);
        let mails = Arc::<Mutex<Vec<Value>>>::default();
        let taken = Arc::clone(&mails);
        let listens = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Ok(Some(mail)) = take(&mut stream).await {
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.push(mail);
                }
            }
        });
        Ok(Self {
            url,
            mails,
            listens,
        })
    }

    pub(super) fn mails(&self) -> Vec<Value> {
        let mails = self.mails.lock();
        mails.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

/// The body of a request, once it is a whole JSON value.
async fn take(stream: &mut TcpStream) -> io::Result<Option<Value>> {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut part).await?;
        request.extend_from_slice(part.get(..length).unwrap_or_default());
        let text = String::from_utf8_lossy(&request);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        let mail = body.and_then(|body| serde_json::from_str(body).ok());
        if mail.is_some() || length == 0 {
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(ok).await?;
            return Ok(mail);
        }
    }
}
