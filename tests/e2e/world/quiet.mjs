// oidc-provider warns of what is only for development, and of every Node.js that is not the newest: here that is no news.

/** Runs `body` with console.info and console.warn silent. */
export async function quietly(body) {
  const { info, warn } = console;
  console.info = console.warn = () => {};
  try {
    return await body();
  } finally {
    Object.assign(console, { info, warn });
  }
}
