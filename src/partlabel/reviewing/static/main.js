// The page of `partlabel review`, put together.

import { App } from "./app.js";
import { byId } from "./dom.js";
import { clientName } from "./outbox.js";
import { Session } from "./session.js";
import { startTheme } from "./theme.js";

async function start() {
  startTheme();
  for (;;) {
    try {
      const session = await Session.load();
      const app = new App(session, await clientName());
      await app.start();
      return;
    } catch (error) {
      byId("banner").hidden = false;
      byId("banner-button").hidden = true;
      if (error.status === undefined) {
        byId("banner-text").textContent = `The page failed: ${error.message}`;
        throw error;
      }
      byId("banner-text").textContent = error.refused
        ? "Open the address that partlabel review printed: this one lacks its token."
        : error.status
          ? `The server has a problem: ${error.message}. Trying again …`
          : "The server cannot be reached. Trying again …";
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  }
}

start();
