// A coloured point cloud in WebGL: drag turns it about its middle, wheel and pinch come nearer.

const VERTEX = `
attribute vec3 point; attribute vec3 colour;
uniform mat3 turned; uniform vec3 pivot; uniform float away, focal, aspect, size;
varying vec3 shade;
void main() {
  // Camera axes: x right, y down, z forward; the screen's y goes up.
  vec3 seen = turned * (point - pivot) + vec3(0.0, 0.0, away);
  float near = 0.02, far = 1000.0;
  gl_Position = vec4(focal * seen.x / aspect, -focal * seen.y,
    seen.z * (far + near) / (far - near) - 2.0 * far * near / (far - near), seen.z);
  // The gap to the next point grows with the distance from the camera that took the picture.
  gl_PointSize = clamp(size * point.z / max(seen.z, near), 1.0, 24.0);
  shade = colour;
}`;
const FRAGMENT = "precision mediump float; varying vec3 shade; void main() { gl_FragColor = vec4(shade, 1.0); }";
const BYTES = 16;  // a point: x, y, z as float32, r, g, b, 0 as bytes
const MOST_PITCH = 1.5, SWAY = 0.0085;

export class Cloud {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl", { antialias: false });
    if (!this.gl) throw new Error("this browser has no WebGL, so there is no point cloud");
    this.count = 0;
    this.fingers = new Map();
    this.setup();
    canvas.addEventListener("pointerdown", event => this.down(event));
    canvas.addEventListener("pointermove", event => this.move(event));
    for (const kind of ["pointerup", "pointercancel"])
      canvas.addEventListener(kind, event => this.fingers.delete(event.pointerId));
    canvas.addEventListener("wheel", event => { event.preventDefault(); this.nearer(Math.exp(event.deltaY / 600)); }, { passive: false });
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("keydown", event => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  setup() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "WebGL failed");
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    const point = gl.getAttribLocation(program, "point"), colour = gl.getAttribLocation(program, "colour");
    gl.enableVertexAttribArray(point);
    gl.vertexAttribPointer(point, 3, gl.FLOAT, false, BYTES, 0);
    gl.enableVertexAttribArray(colour);
    gl.vertexAttribPointer(colour, 3, gl.UNSIGNED_BYTE, true, BYTES, 12);
    gl.enable(gl.DEPTH_TEST);
    this.at = name => gl.getUniformLocation(program, name);
  }

  // Show points; the middle of the turning, and the lens, stay those of the first points after `forget`.
  show(buffer, focal, spacing) {
    this.gl.bufferData(this.gl.ARRAY_BUFFER, buffer, this.gl.STATIC_DRAW);
    this.count = buffer.byteLength / BYTES;
    this.spacing = spacing;  // pixels of the picture between two points, as a share of its height
    if (!this.pivot && this.count) {
      const numbers = new Float32Array(buffer), depths = [];
      for (let i = 0; i < this.count; i += 13) depths.push(numbers[4 * i + 2]);
      this.pivot = [0, 0, depths.sort((a, b) => a - b)[depths.length >> 1]];
      this.focal = focal;
      this.reset();
    }
    this.draw();
  }

  forget() { this.pivot = null; }

  reset() {
    this.yaw = this.pitch = 0;
    this.away = this.pivot ? this.pivot[2] : 1;
    this.draw();
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.max(-MOST_PITCH, Math.min(MOST_PITCH, this.pitch + pitch));
    this.draw();
  }

  nearer(factor) {
    if (!this.pivot) return;
    this.away = Math.max(0.02 * this.pivot[2], Math.min(10 * this.pivot[2], this.away * factor));
    this.draw();
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY], fingers = [...this.fingers.entries()];
    if (fingers.length === 1) this.turn(SWAY * (now[0] - before[0]), SWAY * (now[1] - before[1]));
    else {
      const other = fingers.find(([id]) => id !== event.pointerId)[1];
      const apart = place => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
      this.nearer(apart(before) / apart(now));
    }
    this.fingers.set(event.pointerId, now);
  }

  key(event) {
    const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (turns[event.key]) this.turn(...turns[event.key]);
    else if (event.key === "+") this.nearer(0.9);
    else if (event.key === "-") this.nearer(1 / 0.9);
    else return;
    event.preventDefault();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
  }

  paint() {
    const gl = this.gl, canvas = this.canvas, dense = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dense));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * dense));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.09, 0.08, 0.12, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.count || !this.pivot) return;
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    // Turn about the vertical axis, then tilt; column by column.
    gl.uniformMatrix3fv(this.at("turned"), false, [cy, -sp * sy, -cp * sy, 0, cp, -sp, sy, sp * cy, cp * cy]);
    gl.uniform3fv(this.at("pivot"), this.pivot);
    gl.uniform1f(this.at("away"), this.away);
    gl.uniform1f(this.at("focal"), this.focal);
    gl.uniform1f(this.at("aspect"), canvas.width / canvas.height);
    gl.uniform1f(this.at("size"), 1.3 * this.spacing * canvas.height);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }
}
