// Search in pages that are opened from the disk. Browsers refuse a Worker there, so its script runs in a hidden frame.
// (The theme would fetch a script of this name from unpkg.com; the documents fetch nothing.)
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      this.loaded = new Promise((resolve) => {
        const script = frame.contentDocument.createElement("script")
        script.onload = resolve
        script.src = new URL(url, location.href)
        frame.contentDocument.body.append(script)
      })
    }
    postMessage(data) {
      this.loaded.then(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })))
    }
  }
}
