// barnes.cc - Gravity among many bodies by an octree (Barnes and Hut, Nature 324, 1986).
//
// Bodies live as long as the program, a tree as long as a time step. Most of the time is spent walking it: where the
// allocator put the nodes matters more than how long it took.
#include <array>
#include <cmath>
#include <memory>

#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBodies = 100000;
constexpr uint64_t kSteps = 4;  // at scale 1
constexpr double kOpening =
    1.2;  // a cell is taken as a whole when its side is below this times its distance
constexpr double kSoftening = 1e-4;  // keeps close encounters finite
constexpr double kTimeStep = 1e-3;

struct Vec {
  double x = 0, y = 0, z = 0;
  Vec operator+(Vec o) const { return {x + o.x, y + o.y, z + o.z}; }
  Vec operator-(Vec o) const { return {x - o.x, y - o.y, z - o.z}; }
  Vec operator*(double s) const { return {x * s, y * s, z * s}; }
  double norm2() const { return x * x + y * y + z * z; }
};

struct Body {
  Vec position, velocity;
  double mass;
};

// Either an inner cell or, when `body` is set, a leaf.
struct Node {
  Vec center;       // of the cube
  double half;      // of its side
  Vec mass_center;  // after summarize()
  double mass = 0;
  const Body* body = nullptr;
  std::array<std::unique_ptr<Node>, 8> children;

  Node(Vec c, double h) : center(c), half(h) {}

  size_t octant(Vec p) const {
    return static_cast<size_t>((p.x > center.x) | (p.y > center.y) << 1 | (p.z > center.z) << 2);
  }
  Node& child(Vec p) {
    auto& slot = children[octant(p)];
    if (!slot) {
      double quarter = half / 2;
      auto shift = [&](double at, double middle) {
        return middle + (at > middle ? quarter : -quarter);
      };
      slot = std::make_unique<Node>(
          Vec{shift(p.x, center.x), shift(p.y, center.y), shift(p.z, center.z)}, quarter);
    }
    return *slot;
  }
  void insert(const Body* newcomer, bool is_empty) {
    Node* node = this;
    while (!is_empty) {
      if (const Body* resident = std::exchange(node->body, nullptr)) {
        Node& below = node->child(resident->position);
        below.body = resident;
      }
      Node* before = node;
      bool existed = node->children[node->octant(newcomer->position)] != nullptr;
      node = &before->child(newcomer->position);
      is_empty = !existed;
    }
    node->body = newcomer;
  }
  void summarize() {
    if (body) {
      mass = body->mass;
      mass_center = body->position;
      return;
    }
    for (auto& c : children)
      if (c) {
        c->summarize();
        mass += c->mass;
        mass_center = mass_center + c->mass_center * c->mass;
      }
    mass_center = mass_center * (1 / mass);
  }
  Vec pull_on(const Body& target) const {
    if (body == &target) return {};
    Vec away = mass_center - target.position;
    double distance2 = away.norm2() + kSoftening;
    if (body || 4 * half * half < kOpening * kOpening * distance2)
      return away * (mass / (distance2 * std::sqrt(distance2)));
    Vec sum;
    for (auto& c : children)
      if (c) sum = sum + c->pull_on(target);
    return sum;
  }
};

double coordinate(Rng& rng) { return static_cast<double>(rng.below(1u << 30)) / (1u << 29) - 1.0; }

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  Rng rng(1);
  std::vector<std::unique_ptr<Body>> bodies;
  for (size_t i = 0; i < kBodies; i++)
    bodies.push_back(std::make_unique<Body>(
        Body{{coordinate(rng), coordinate(rng), coordinate(rng)}, {}, 1.0 / kBodies}));

  uint64_t steps = args.scaled(kSteps);
  for (uint64_t step = 0; step < steps; step++) {
    // The root's cube stays ahead of the few that fly away.
    double reach = 1;
    for (auto& b : bodies) reach = std::max(reach, std::sqrt(b->position.norm2()));
    auto root = std::make_unique<Node>(Vec{}, reach);
    bool is_empty = true;
    for (auto& b : bodies) root->insert(b.get(), std::exchange(is_empty, false));
    root->summarize();
    if (std::abs(root->mass - 1) > 1e-9) fail("the tree lost a body");
    for (auto& b : bodies) b->velocity = b->velocity + root->pull_on(*b) * kTimeStep;
    for (auto& b : bodies) b->position = b->position + b->velocity * kTimeStep;
  }
  return done(steps * kBodies);
}
