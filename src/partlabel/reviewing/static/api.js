// Requests to the server of this page, and to nothing else.

/** An answer that is an error: `status` 0 means that the server could not be reached. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Trying again later may help. */
  get transient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** Another review has this address now. */
  get replaced() {
    return this.status === 409;
  }

  /** The server wants the address with its token again. */
  get refused() {
    return this.status === 401 || this.status === 403;
  }
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError("the server does not answer", 0);
  }
  let body = null;
  try {
    body = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (answer.ok) throw new RequestError("the answer of the server was cut short", 0);
  }
  if (!answer.ok) throw new RequestError(body?.error ?? `the server answered ${answer.status}`, answer.status);
  return body;
}

/** GET `path` with a query of the parameters that are not null. */
export function get(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return request(query ? `${path}?${query}` : path, { signal });
}

/** POST `body` as JSON; a request that hangs counts as not answered. */
export function post(path, body, timeout = 20000) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeout),
  }).catch((error) => {
    throw error.status === undefined ? new RequestError("the server does not answer", 0) : error;
  });
}
